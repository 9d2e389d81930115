"""The command line: one file a command. Nothing else in the project imports this room."""
