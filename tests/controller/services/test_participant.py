import json

import pytest
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode

from contracts.header import WindowHeader
from contracts.leaves import TradeLeaf
from contracts.merkle import verify_proof
from controller.services.proofs import header_message
from controller.store import evidence
from gridpact.v1 import operator_pb2, participant_pb2, participant_pb2_grpc

NAME = "microgrids/village"


class TestListOwnTrades:
    def trades(self, site, member, number=0, **values):
        request = participant_pb2.ListOwnTradesRequest(parent=site.window(number), **values)
        return site.participant(member).ListOwnTrades(request)

    def test_it_is_every_trade_of_the_callers_and_nobody_elses(self, settled):
        every = {
            f"{settled.window(0)}/trades/{row['ix']}": {row["seller"], row["buyer"]}
            for row in settled.rows("trades")
            if row["window"] == settled.window(0)
        }
        for member in settled.members:
            own = [trade.name for trade in self.trades(settled, member).trades]
            assert own == [name for name, sides in every.items() if member in sides]
            assert own

    def test_a_trade_says_what_was_cleared(self, settled):
        row = settled.rows("trades")[0]
        trade = self.trades(settled, "ada").trades[0]
        assert MessageToDict(trade) == {
            "name": f"{row['window']}/trades/0",
            "seller": row["seller"],
            "buyer": row["buyer"],
            "interval": {"startTime": "2026-03-02T06:00:00Z", "endTime": "2026-03-02T06:15:00Z"},
            "energyWh": str(row["energy_wh"]),
            "priceMicroPerKwh": str(row["price_micro_per_kwh"]),
        }

    def test_pages_hold_own_trades_only(self, settled):
        every = list(self.trades(settled, "ada").trades)
        first = self.trades(settled, "ada", page_size=1)
        rest = self.trades(settled, "ada", page_token=first.next_page_token)
        assert [*first.trades, *rest.trades] == every

    def test_an_open_window_has_none(self, settled):
        assert not self.trades(settled, "ada", 3).trades

    @pytest.mark.parametrize("name", ["grid", "zoe"])
    def test_one_who_is_no_member_finds_no_window(self, settled, name):
        """An identity that is called like the grid's account must not see everyone's trades with the grid."""
        request = participant_pb2.ListOwnTradesRequest(parent=settled.window(0))
        assert settled.refused(settled.participant(name).ListOwnTrades, request).code is StatusCode.NOT_FOUND


class TestGetTradeProof:
    def request(self, site, index, number=0):
        return participant_pb2.GetTradeProofRequest(name=f"{site.window(number)}/trades/{index}")

    def test_every_own_trade_is_proven_up_to_the_header(self, settled):
        for member in settled.members:
            ada = settled.participant(member)
            for trade in ada.ListOwnTrades(participant_pb2.ListOwnTradesRequest(parent=settled.window(0))).trades:
                proof = ada.GetTradeProof(participant_pb2.GetTradeProofRequest(name=trade.name)).proof
                leaf = TradeLeaf.from_json(json.loads(proof.record_json))
                assert proof.kind == "trade"
                assert verify_proof(leaf.hash, proof.path, proof.header.trades_root)
                assert (leaf.energy_wh, leaf.price_micro_per_kwh) == (trade.energy_wh, trade.price_micro_per_kwh)

    def test_who_has_left_proves_its_trades_still(self, settled):
        ada = settled.participant("ada")
        request = participant_pb2.ListOwnTradesRequest(parent=settled.window(0))
        before = ada.ListOwnTrades(request), ada.GetTradeProof(self.request(settled, 0))
        name = f"{NAME}/members/ada"
        settled.operator.DeleteMember(operator_pb2.DeleteMemberRequest(name=name, request_id=settled.request_id()))
        assert (ada.ListOwnTrades(request), ada.GetTradeProof(self.request(settled, 0))) == before

    def test_a_changed_record_is_not_proven(self, settled):
        proof = settled.participant("ada").GetTradeProof(self.request(settled, 0)).proof
        record = json.loads(proof.record_json)
        for change in ({"energy_wh": record["energy_wh"] + 1}, {"salt": "0x" + "00" * 32}, {"index": 1}):
            leaf = TradeLeaf.from_json(record | change)
            assert not verify_proof(leaf.hash, proof.path, proof.header.trades_root)

    def test_the_header_hashes_to_what_is_chained_and_anchored(self, settled):
        header = settled.participant("ada").GetTradeProof(self.request(settled, 0)).proof.header
        kept = settled.database.run(evidence.header, settled.window(0))
        assert isinstance(kept, WindowHeader)
        assert header == header_message(kept)
        assert header.hash == kept.hash == settled.rows("headers")[0]["hash"]

    def test_a_neighbours_trade_is_answered_like_none(self, settled):
        rows = [row for row in settled.rows("trades") if row["window"] == settled.window(0)]
        foreign = next(row["ix"] for row in rows if "ada" not in (row["seller"], row["buyer"]))
        ada = settled.participant("ada").GetTradeProof
        theirs = settled.refused(ada, self.request(settled, foreign))
        none = settled.refused(ada, self.request(settled, len(rows)))
        assert theirs.code is none.code is StatusCode.NOT_FOUND
        assert theirs.message.replace(f"trades/{foreign}", "") == none.message.replace(f"trades/{len(rows)}", "")
        assert (theirs.reason, theirs.fields) == (none.reason, none.fields)

    @pytest.mark.parametrize("number", [1, 2])
    def test_before_settlement_there_is_none_yet(self, settled, number):
        answer = settled.refused(settled.participant("ada").GetTradeProof, self.request(settled, 0, number))
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_SETTLED")

    @pytest.mark.parametrize("name", ["", "trades/0", "{window}/trades/", "{window}/trades/-1", "{window}/readings/0"])
    def test_what_is_no_trades_name_is_invalid(self, settled, name):
        request = participant_pb2.GetTradeProofRequest(name=name.format(window=settled.window(0)))
        refused = settled.refused(settled.participant("ada").GetTradeProof, request)
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("name",))

    @pytest.mark.parametrize("name", ["grid", "zoe"])
    def test_one_who_is_no_member_proves_nothing(self, settled, name):
        stub = settled.stub(participant_pb2_grpc.ParticipantServiceStub, f"participant/{name}")
        for index in range(len(settled.rows("trades"))):
            assert settled.refused(stub.GetTradeProof, self.request(settled, index)).code is StatusCode.NOT_FOUND
