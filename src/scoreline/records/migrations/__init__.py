"""The steps from schema to schema, numbered. A step never changes once it is released.

Steps expand: they add what older stewards need not know (nullable columns, tables, indexes). A later release may
contract, once no steward of before runs any more: such a step also sets `schema_compatible.since` to its own number.
"""

from typing import Final

HEAD: Final = 8
