"""What was seen as e-values, which stay valid however often one looks: pure, additive, numpy only."""
