"""Cases of the Berkeley Function Calling Leaderboard through our loop, scored by ours and by BFCL's own checker."""
