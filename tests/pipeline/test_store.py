import pytest

from neuroloom.pipeline.store import Store, StoreError


def publish(store, session_id, version):
    folder = store.sessions / session_id / version
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_create_makes_the_folders_and_may_be_repeated(store):
    store.create()
    names = {path.name for path in store.root.iterdir()}
    assert names == {"inbox", "originals", "sessions", "derived", "quarantine", "runs", "review"}


def test_the_store_comes_from_the_environment_unless_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROLOOM_STORE", str(tmp_path / "a"))
    assert Store.here().root == tmp_path / "a"
    assert Store.here(tmp_path / "b").root == tmp_path / "b"


def test_latest_is_the_highest_version_by_number(store):
    for version in ("v002", "v010", "v009"):
        publish(store, "sub-01_ses-01", version)
    assert store.latest("sub-01_ses-01").name == "v010"


def test_a_version_without_manifest_is_not_published(store):
    (store.sessions / "sub-01_ses-01" / "v001").mkdir(parents=True)
    assert store.session_ids() == []


@pytest.mark.parametrize("name", ["../evil", "..", "/etc", "a/b", "", "a\nb", ".staging"])
def test_a_name_that_leads_out_of_the_store_is_refused(store, name):
    with pytest.raises(StoreError, match="cannot name a session"):
        store.latest(name)
    with pytest.raises(StoreError, match="cannot name a run"):
        store.run_folder(name)


def test_an_unknown_session_names_those_there_are(store):
    publish(store, "sub-01_ses-01", "v001")
    with pytest.raises(StoreError, match="there are: sub-01_ses-01"):
        store.latest("sub-02_ses-01")


def test_a_file_where_the_store_should_be_is_one_clear_line(tmp_path):
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot be made"):
        Store(tmp_path / "store").create()
