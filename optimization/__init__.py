"""What is best: the mathematics of dispatch and clearing, without input, output, clock or wire types.

``community`` holds the data of a problem, ``clearing`` the answer, ``reference`` the plainly written solvers,
``rounding`` the crossing from floats to integers, ``certificate`` the check that shares no code with a solver.
"""
