"""The machine that carries out phases: what a phase is, plan, execute, run in a worker, lineage, staleness."""
