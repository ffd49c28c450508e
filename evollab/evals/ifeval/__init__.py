"""IFEval's 25 instructions as checks (Zhou et al. 2023, 2311.07911), a file for each sort; `registry` has them all."""
