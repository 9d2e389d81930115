"""What several tests need: stand-ins, tiny models, short ways to run commands. Test modules import from here only."""
