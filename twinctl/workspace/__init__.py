"""The workspace on disk: artifacts, runs and their guarantees. Knows nothing of machine learning."""
