"""What both planes share on HTTP: the error table, routes with scopes, corked writes, a server that drains."""
