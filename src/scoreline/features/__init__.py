"""Where features of entities are kept, and the ladder by which a request gets them."""
