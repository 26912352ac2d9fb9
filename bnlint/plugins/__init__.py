"""bnlint inside other programs: each module is loaded by the program that it is named after."""
