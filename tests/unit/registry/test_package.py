"""Packages: what is written is read again, and nothing else is."""

import json

import pytest
import torch

from aufleet.errors import PackageError
from aufleet.registry.card import dump_card, parse_card
from aufleet.registry.package import (
    CARD_KEY,
    WEIGHTS_KEY,
    load_package,
    read_package,
    write_package,
)
from aufleet.storage import open_store, sha256_of
from aufleet_models import build_model, list_models


@pytest.fixture
def uri(card, weights, root):
    return write_package(card, weights, root=root)


def test_a_package_lies_under_the_digest_of_its_card(uri, card, root):
    assert uri == root.uri_of(f"models/{sha256_of(dump_card(card))}")


def test_writing_a_package_twice_changes_nothing(uri, card, weights, root):
    assert write_package(card, weights, root=root) == uri
    assert len(root.keys("models/")) == 2


def test_a_package_reads_back_as_it_was_written(uri, card, weights):
    read, data = read_package(uri)
    assert (dump_card(read), data) == (dump_card(card), weights)


def test_a_loaded_package_answers_with_the_calibrated_mean_of_its_members(uri, networks):
    loaded = load_package(uri)
    frames = torch.rand(2, 3, 176, 176) * 2 - 1
    with torch.no_grad():
        answer = loaded.model(frames)
        logits = torch.stack([network(frames).logits for network in networks]).mean(0) / 2.0
    torch.testing.assert_close(answer.logits, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(answer.probabilities, logits.sigmoid(), rtol=1e-4, atol=1e-4)
    assert answer.landmarks.shape == (2, 49, 2)


@pytest.mark.parametrize("key", [WEIGHTS_KEY, CARD_KEY])
def test_a_changed_byte_is_refused(uri, key):
    store = open_store(uri)
    data = bytearray(store.read(key))
    data[len(data) // 2] ^= 1
    store.write(key, bytes(data))
    with pytest.raises(PackageError, match=f"{key} of model package .* was changed"):
        load_package(uri)


@pytest.mark.parametrize("key", [WEIGHTS_KEY, CARD_KEY])
def test_a_missing_file_is_named(uri, key):
    open_store(uri).delete(key)
    with pytest.raises(PackageError, match=f"lacks {key}"):
        load_package(uri)


def test_a_card_of_another_schema_is_refused(card, root):
    text = dump_card(card.model_copy(update={"schema_version": 99}))
    store = root.child(f"models/{sha256_of(text)}")
    store.write(CARD_KEY, text)
    with pytest.raises(PackageError, match="has schema 99"):
        load_package(store.uri)


def test_a_card_with_an_unknown_key_is_refused(card):
    content = json.loads(dump_card(card)) | {"surprise": 1}
    with pytest.raises(PackageError, match="surprise"):
        parse_card(json.dumps(content).encode(), uri="here")


def test_a_uri_without_a_digest_is_no_package(root):
    with pytest.raises(PackageError, match="is not the URI of a model package"):
        load_package(root.uri_of("models/latest"))


def test_weights_that_the_card_does_not_name_are_not_written(card, root):
    with pytest.raises(PackageError, match="names other weights"):
        write_package(card, b"other", root=root)


def test_weights_that_do_not_fit_the_architecture_are_refused(card, weights, root):
    options = {**card.architecture.options, "width": 0.25}
    other = card.model_copy(
        update={"architecture": card.architecture.model_copy(update={"options": options})}
    )
    with pytest.raises(PackageError, match=r"member fold1 of .* does not fit algrnet"):
        load_package(write_package(other, weights, root=root))


@pytest.mark.parametrize("name", list_models())
def test_the_configuration_of_every_network_survives_a_card(name):
    network = build_model(name, task="palsy", width=0.125)
    config = json.loads(json.dumps(network.config))
    again = build_model(config.pop("name"), **config)
    assert again.config == network.config
