"""The entry point of `neuroloom`.

Exit codes: 0 well; 1 damage found, or not all is well; 2 wrong use, or something named does not exist;
3 some recordings unknown or quarantined; 130 interrupted.

Nothing but the standard library is imported on top: Ctrl-C while the command line is loaded, a third of a second, ends
as quietly as later on.
"""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn


def main() -> None:
    """Run a command: an error a user can cause is one line on stderr, and exit 2."""
    try:
        from neuroloom.flows.cli import app

        if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack the letters of a name
            sys.stdout.reconfigure(errors="backslashreplace")
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError as error:
        _end(f"not enough memory: {error}")
    except (ValueError, OSError, LookupError, TimeoutError) as error:
        from neuroloom.flows.printing import one_line

        _end(one_line(error))
    except Exception as error:
        if not (said := _of_the_catalog(error)):
            raise
        _end(said)


def _end(said: str) -> NoReturn:
    from neuroloom.flows.printing import say

    say(f"neuroloom: {said}")
    sys.exit(2)


def _of_the_catalog(error: Exception) -> str:
    """What keeps the catalog from answering, or ""."""
    from sqlalchemy.exc import DBAPIError, OperationalError  # here, since most commands do without a catalog

    from neuroloom.pipeline.catalog.opening import away, is_damage

    if isinstance(error, OperationalError):  # a full disk, or no server
        return f"{away(error)}; `neuroloom doctor` says what is in its way"
    return away(error) if isinstance(error, DBAPIError) and is_damage(error) else ""


if __name__ == "__main__":
    main()
