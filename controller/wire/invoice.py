"""Invoices as messages, and back."""

from datetime import date

from controller.invoices import Invoice, InvoiceLine, Reference
from controller.refusals import invalid, out_of_range
from controller.wire import fields
from gridpact.v1 import participant_pb2 as pb

MAX_DAYS, MAX_DAYS_BY_MTU = 366, 31


def read_days(request: pb.GetInvoiceRequest) -> tuple[date, date]:
    """The first and the last day."""
    first, last = _day("first_day", request.first_day), _day("last_day", request.last_day)
    days, most = (last - first).days + 1, MAX_DAYS_BY_MTU if request.by_mtu else MAX_DAYS
    if days < 1:
        raise invalid("last_day", got=request.last_day, wanted=f"{request.first_day} or later")
    if days > most:
        raise out_of_range("last_day", got=f"{days} days", wanted=f"at most {most}")
    return first, last


def _day(field: str, value: str) -> date:
    try:
        day = date.fromisoformat(value)
    except ValueError:
        day = None
    if day is None or value != day.isoformat() or not 2000 <= day.year < 2100:
        raise invalid(field, got=value, wanted="YYYY-MM-DD, of the years 2000 to 2099")
    return day


def invoice_message(invoice: Invoice) -> pb.Invoice:
    """The message of an invoice."""
    return pb.Invoice(
        member=invoice.member,
        currency=invoice.currency,
        time_zone=invoice.time_zone,
        interval=fields.interval_message(invoice.start, invoice.end),
        lines=[_line_message(line) for line in invoice.lines],
        totals=[pb.InvoiceTotal(kind=kind, amount_micro=amount) for kind, amount in invoice.totals().items()],
        total_micro=invoice.total_micro,
        unsettled_windows=invoice.unsettled,
        create_time=fields.timestamp(invoice.created),
    )


def _line_message(line: InvoiceLine) -> pb.InvoiceLine:
    message = pb.InvoiceLine(
        kind=line.kind,
        interval=fields.interval_message(line.start, line.end),
        counterpart=line.counterpart,
        sold=line.sold,
        amount_micro=line.amount_micro,
        correction=line.correction,
        references=[pb.InvoiceReference(window=one.window, postings=one.postings) for one in line.references],
    )
    if line.energy_wh is not None:
        message.energy_wh = line.energy_wh
    if line.price_micro_per_kwh is not None:
        message.price_micro_per_kwh = line.price_micro_per_kwh
    return message


def invoice_of(message: pb.Invoice) -> Invoice:
    """The invoice of a message that a service sent."""
    return Invoice(
        member=message.member,
        currency=message.currency,
        time_zone=message.time_zone,
        start=message.interval.start_time.seconds,
        end=message.interval.end_time.seconds,
        lines=tuple(_line(line) for line in message.lines),
        total_micro=message.total_micro,
        unsettled=message.unsettled_windows,
        created=message.create_time.seconds,
    )


def _line(message: pb.InvoiceLine) -> InvoiceLine:
    return InvoiceLine(
        kind=message.kind,
        start=message.interval.start_time.seconds,
        end=message.interval.end_time.seconds,
        counterpart=message.counterpart,
        sold=message.sold,
        energy_wh=message.energy_wh if message.HasField("energy_wh") else None,
        price_micro_per_kwh=message.price_micro_per_kwh if message.HasField("price_micro_per_kwh") else None,
        amount_micro=message.amount_micro,
        correction=message.correction,
        references=tuple(Reference(window=one.window, postings=tuple(one.postings)) for one in message.references),
    )
