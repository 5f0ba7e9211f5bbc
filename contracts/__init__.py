"""What can be proven: that the books of a microgrid were not changed after they were settled.

The trades, readings and postings of a dispatch window become salted leaves of Merkle trees (`leaves`,
`merkle`); the trees' roots, the totals and the hash of the previous header make the window's header
(`header`); the header's hash is written once into a contract (`registry`, `anchoring`) on a chain
(`chain`). Everything that a stranger needs to check this without us is exported as a directory or as a
single proof (`evidence`) and checked with `verify`, also as ``python -m contracts.verify``.

Modules import quickly: web3, eth-tester and py-evm are loaded only by the functions that need a chain.
"""
