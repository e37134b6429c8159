"""What passes is exit code 1, and what somebody must change is 2: the pipelines API in every kind of trouble."""

import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager

import pytest

from understudy.errors import UnderstudyError
from understudy.runners.cluster import api


@contextmanager
def answering(answer, context=None):
    """Serve the same bytes to whoever connects, over TLS when there is a context; empty bytes cut the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                try:
                    if answer:
                        talk = context.wrap_socket(client, server_side=True) if context else client
                        talk.recv(65536)
                        talk.sendall(answer)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(api, "PAUSES_S", (0.01,))
    monkeypatch.setattr(api, "TIMEOUTS_S", (1, 1))


def fault_at(host):
    with pytest.raises(UnderstudyError) as raised:
        api.connect(host, "team")
    return raised.value


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_server_out_of_order_is_tried_again(status):
    with answering(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode()) as port:
        fault = fault_at(f"http://127.0.0.1:{port}")
    assert fault.exit_code == 1
    assert f"got {status}" in str(fault)


@pytest.mark.parametrize("status", [400, 403, 302])
def test_a_refusal_is_for_a_person(status):
    with answering(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode()) as port:
        assert fault_at(f"http://127.0.0.1:{port}").exit_code == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_is_cut_is_an_outage_over_tls_too(scheme):
    with answering(b"") as port:
        fault = fault_at(f"{scheme}://127.0.0.1:{port}")
    assert fault.exit_code == 1
    assert "The pipelines API must be there" in str(fault)


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b'"up"', b"[]", b"null", b"{"])
def test_an_answer_of_something_else_is_one_sentence(body):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with answering(head + body) as port:
        fault = fault_at(f"http://127.0.0.1:{port}")
    assert fault.exit_code == 1
    assert "The pipelines API must answer as Kubeflow Pipelines does, got" in str(fault)


def test_a_name_that_is_not_found_for_a_moment_is_an_outage():
    fault = fault_at("http://no-such-host.invalid:8888")
    assert fault.exit_code == 1
    assert "no address for that name" in str(fault)


def test_a_certificate_that_is_not_to_be_trusted_is_for_a_person(tmp_path):
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", context) as port:
        fault = fault_at(f"https://127.0.0.1:{port}")
    assert fault.exit_code == 2
    assert "The certificate of the pipelines API must be one to trust" in str(fault)
