"""Market cases in files: how they are read, and how answers to them are said. The format is in ``docs/cases.md``.

=============  ========================================================================================
``format``     what a case holds once it is read: ``Case``, ``Expected``
``reading``    a file into a case; ``peers``, ``links``, ``expected`` read its parts, ``fields`` what they share
``schema``     the format as JSON Schema
``start``      an earlier result as ADMM's start
``solving``    the case's market by the solver that was asked for, certified
``designing``  the case by one of the market designs
``trading``    trades as rows of whole Wh
``result``     what came out, in the case's own sign and names
``answer``     a result as one JSON object
``show``       a result for people
``comparing``  the designs side by side; ``picture`` draws them, ``page`` adds the numbers behind
=============  ========================================================================================
"""
