"""Teachers as studies open them."""

import threading
import time

from neuroloom.models.teachers import hidden_markov
from neuroloom.pipeline.studies._lessons import open_teacher

ASKED = {"kind": "hidden_markov", "n_symbols": 4, "n_topics": 2, "successors": 2, "width": 8, "blocks": 1, "heads": 1,
         "context": 4, "steps": 2}  # fmt: skip


def test_a_teacher_that_two_ask_for_at_once_is_trained_once(tmp_path, monkeypatch):
    trained, train = [], hidden_markov._trained

    def slowly(*asked):
        trained.append(threading.get_ident())
        time.sleep(0.3)  # the other one asks meanwhile
        return train(*asked)

    monkeypatch.setattr(hidden_markov, "_trained", slowly)
    asking = [threading.Thread(target=open_teacher, args=(ASKED, tmp_path / "teachers")) for _ in range(2)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(trained) == 1
