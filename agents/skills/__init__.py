"""Skills: directories of instructions and files that agents read when a task asks for them (spec A.10, C.5)."""
