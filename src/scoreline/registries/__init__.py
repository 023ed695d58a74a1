"""Where versions of models are kept, behind one port."""
