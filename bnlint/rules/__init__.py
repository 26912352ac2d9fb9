"""One module for each rule: its file name holds its code and its name, and nothing else lists it."""
