"""The core: what a row, a bundle, a score and a decision are. numpy and the standard library only."""
