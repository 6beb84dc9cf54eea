"""KMS, as boto3 uses it."""

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def kms(world):
    return world.kms


def refused(code, call, **members):
    with pytest.raises(ClientError) as error:
        call(**members)
    assert error.value.response["Error"]["Code"] == code
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_the_demo_key_is_known_by_all_its_names(kms):
    key = kms.describe_key(KeyId="alias/demo")["KeyMetadata"]
    assert key["Enabled"] and key["KeyState"] == "Enabled" and key["KeySpec"] == "SYMMETRIC_DEFAULT"
    for name in (key["KeyId"], key["Arn"], key["Arn"].rsplit(":", 1)[0] + ":alias/demo"):
        assert kms.describe_key(KeyId=name)["KeyMetadata"]["Arn"] == key["Arn"]
    refused("NotFoundException", kms.describe_key, KeyId="alias/none")
    refused("NotFoundException", kms.describe_key, KeyId="12345678-1234-1234-1234-123456789012")


def test_data_keys_open_with_their_context_only(kms):
    context = {"aws:ssm:SessionId": "s", "aws:ssm:TargetId": "t"}
    made = kms.generate_data_key(KeyId="alias/demo", NumberOfBytes=64, EncryptionContext=context)
    assert len(made["Plaintext"]) == 64
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
    assert opened["Plaintext"] == made["Plaintext"]
    assert opened["KeyId"] == made["KeyId"]
    assert len(kms.generate_data_key(KeyId="alias/demo", KeySpec="AES_256")["Plaintext"]) == 32
    wrong = context | {"aws:ssm:TargetId": "u"}
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=made["CiphertextBlob"], EncryptionContext=wrong)
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=made["CiphertextBlob"])
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=b"nonsense", EncryptionContext=context)
    refused("ValidationException", kms.generate_data_key, KeyId="alias/demo")
    refused("ValidationException", kms.generate_data_key, KeyId="alias/demo", NumberOfBytes=8, KeySpec="AES_128")


def test_keys_are_made_disabled_and_told_apart(kms):
    made = kms.create_key(Description="mine")["KeyMetadata"]
    assert made["Description"] == "mine"
    sealed = kms.encrypt(KeyId=made["KeyId"], Plaintext=b"text")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"text"
    refused("IncorrectKeyException", kms.decrypt, CiphertextBlob=sealed, KeyId="alias/demo")
    kms.disable_key(KeyId=made["KeyId"])
    assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["KeyState"] == "Disabled"
    refused("DisabledException", kms.decrypt, CiphertextBlob=sealed)
    refused("DisabledException", kms.generate_data_key, KeyId=made["KeyId"], NumberOfBytes=64)
    kms.enable_key(KeyId=made["KeyId"])
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"text"


def test_a_cluster_is_told_which_key_its_sessions_have(world, kms):
    arn = kms.describe_key(KeyId="alias/demo")["KeyMetadata"]["Arn"]
    wanted = {"executeCommandConfiguration": {"kmsKeyId": arn, "logging": "NONE"}}
    name = "encrypted-sessions"
    world.ecs.create_cluster(clusterName=name)
    try:
        world.ecs.update_cluster(cluster=name, configuration=wanted)
        found = world.ecs.describe_clusters(clusters=[name], include=["CONFIGURATIONS"])["clusters"][0]
        assert found["configuration"] == wanted
    finally:
        world.ecs.delete_cluster(cluster=name)
