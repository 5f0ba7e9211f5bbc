"""A primal-dual interior-point method for markets whose linear systems have the size of the peers, not of the links.

``programme`` lays a market out as rows, boxes and arcs, ``kernels`` passes over the arcs, ``normal`` solves for the
prices, ``method`` iterates, ``sifting`` leaves out arcs that are idle, ``least_norm`` chooses among tied answers.
"""
