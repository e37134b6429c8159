"""The watch's figures, served to Prometheus."""

import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import yaml

from tests.manifests.kustomize import MANIFESTS
from understudy.runners.cluster.exporter import answer, server_of
from understudy.steps.watch.outlets import prometheus
from understudy.store.storage import open_store


@contextmanager
def serving(store):
    with server_of(store, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_the_figures_are_those_of_the_night_with_the_latest_date(tmp_path):
    store = open_store(str(tmp_path))
    with serving(store) as url:
        assert urllib.request.urlopen(f"{url}/metrics").read() == b""
        store.put_if_absent("watch/date=2026-11-02/understudy.prom", b"a 2\n")
        store.put_if_absent("watch/date=2026-11-01/understudy.prom", b"a 1\n")
        store.put_if_absent("watch/date=2026-11-03/series.json", b"{}")
        answered = urllib.request.urlopen(f"{url}/metrics")
        assert answered.read() == b"a 2\n"
        assert answered.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_a_store_that_is_away_is_a_failed_scrape_and_no_end_of_the_server(s3_url, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = open_store(s3_url)
    with serving(store) as url:
        assert urllib.request.urlopen(f"{url}/healthz").status == 200
        try:
            urllib.request.urlopen(f"{url}/metrics")
            raise AssertionError("the scrape must fail")
        except urllib.error.HTTPError as error:
            assert error.code == 503
            assert error.read().decode().strip()


def test_nothing_but_figures_is_served(tmp_path):
    (tmp_path / "secret").write_text("text")
    store = open_store(str(tmp_path))
    assert {answer(store, path)[0] for path in ("/", "/secret", "/../secret", "/metrics/../secret")} == {404}


def rules_of_alerts():
    file = MANIFESTS / "components/monitoring/alerts.yaml"
    rules = [rule for group in yaml.safe_load(file.read_text())["spec"]["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules}


def test_a_job_that_a_retry_mended_alerts_nobody():
    """`kube_job_status_failed` counts pods, of Jobs that succeeded too; the Job's own condition says how it ended."""
    expression = rules_of_alerts()["UnderstudySubmitFailed"]["expr"]
    assert "kube_job_failed{" in expression and 'condition="true"' in expression


def test_figures_that_are_not_there_are_an_alert():
    silent = rules_of_alerts()["UnderstudySilent"]
    assert silent["expr"] == "absent(understudy_night_date_seconds)"
    assert silent["for"] == "26h"


def test_alerts_and_dashboard_ask_for_series_that_the_watch_writes():
    import json
    import re

    alerts, dashboard = (MANIFESTS / "components/monitoring" / name for name in ("alerts.yaml", "dashboard.json"))
    rules = [rule for group in yaml.safe_load(alerts.read_text())["spec"]["groups"] for rule in group["rules"]]
    panels = json.loads(dashboard.read_text())["panels"]
    asked = [rule["expr"] for rule in rules] + [panel["targets"][0]["expr"] for panel in panels]
    written = set(re.findall(r"understudy_\w+", "".join(map(str, prometheus.__code__.co_consts))))
    named = {name for expression in asked for name in re.findall(r"understudy_\w+", expression)}
    assert named and named <= written
    for expression in asked:
        assert all(expression.count(left) == expression.count(right) for left, right in ("()", "{}", "[]")), expression
