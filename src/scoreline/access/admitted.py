"""Who is let into a route: by name, by key, by model, and by whose page it is sent for."""

from collections.abc import Mapping

from scoreline.access.caller import Caller
from scoreline.access.hosts import check_host, check_site
from scoreline.access.keyring import Keyring, check_model, offered_key
from scoreline.access.scopes import OF_OWN_MODELS, PUBLIC
from scoreline.core.errors import Denied


def admitted(ring: Keyring, scope: str, method: str, route: str, model: str, headers: Mapping[bytes, bytes]) -> Caller:
    """The caller of a route whose path names a model, or none; raises Denied, Unauthenticated or Malformed.

    Health is answered under any name: a probe asks an address.
    """
    if scope == PUBLIC:
        return ring.nobody
    check_host(ring, headers)
    key = offered_key(headers)
    if not key and method != "GET" and scope != "predict":  # dialects look at pages themselves: JSON they may send
        check_site(headers)
    caller = ring.admit(scope, key)
    if "{name}" in route:
        check_model(caller, model)
    elif caller.models is not None and route not in OF_OWN_MODELS:
        raise Denied("this key is for some models only, and this route is about all of them")
    return caller
