"""What addresses mean, and that nothing which opens a door is ever shown."""

import pytest

from pipeline.errors import AddressError
from pipeline.ingest import AddressKind, name_cameras, parse_address, redact

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "location", "display"),
    [
        ("rtsp://cam/live", "rtsp://cam/live", "rtsp://cam/live"),
        ("RTSP://Cam:8554", "rtsp://cam:8554/", "rtsp://cam:8554/"),
        ("rtsp://u:p@cam/live", "rtsp://u:p@cam/live", "rtsp://***@cam/live"),
        ("rtsps://u:@cam/live", "rtsps://u@cam/live", "rtsps://***@cam/live"),
        # Cameras' passwords hold what URLs reserve; the last @ ends the login, as in FFmpeg.
        ("rtsp://u:p@ss:w@cam/1", "rtsp://u:p%40ss%3Aw@cam/1", "rtsp://***@cam/1"),
        ("rtsp://u:p%40ss%2Fw@cam/1", "rtsp://u:p%40ss%2Fw@cam/1", "rtsp://***@cam/1"),
        ("rtsp://u:100%sure!$&'()*+,;=@cam/1", None, "rtsp://***@cam/1"),
        ("rtsp://u:pä%20ß@cam/1", "rtsp://u:p%C3%A4%20%C3%9F@cam/1", "rtsp://***@cam/1"),
        ("rtsp://u:p@[fe80::1%25eth0]:554/1", None, "rtsp://***@[fe80::1%25eth0]:554/1"),
        ("rtsp://[2001:db8::7]/1", "rtsp://[2001:db8::7]/1", "rtsp://[2001:db8::7]/1"),
        ("rtsp://cam/a@b?mail=x@y", "rtsp://cam/a@b?mail=x@y", "rtsp://cam/a@b?mail=***"),
        (
            "http://cam/v?channel=1&subtype=0&token=a/b=&hunter2",
            "http://cam/v?channel=1&subtype=0&token=a/b=&hunter2",
            "http://cam/v?channel=1&subtype=0&token=***&***",
        ),
        (
            "rtsp://cam/user=admin_password=x_channel=1_stream=0.sdp?real_stream",
            "rtsp://cam/user=admin_password=x_channel=1_stream=0.sdp?real_stream",
            "rtsp://cam/user=***?real_stream",
        ),
        ("rtsp://nvr:7447/Zk3hPq8xW1vTn5Ys", None, "rtsp://nvr:7447/***"),
        ("https://cam/Streaming/Channels/101", None, "https://cam/Streaming/Channels/101"),
        ("webcam:0", "/dev/video0", "webcam:0"),
        ("/dev/video2", "/dev/video2", "/dev/video2"),
        ("synthetic:mall/cam1?seed=7", "mall/cam1?seed=7", "synthetic:mall/cam1?seed=7"),
    ],
)
def test_an_address_is_opened_whole_and_shown_without_its_secrets(text, location, display):
    address = parse_address(text)
    assert address.display == display
    assert location is None or address.location == location
    if "://" in address.location:
        assert parse_address(address.location).location == address.location


def test_an_encoded_login_means_the_same_as_a_plain_one():
    assert (
        parse_address("rtsp://u:a%40b%3A@cam/").location
        == parse_address("rtsp://u:a@b:@cam/").location
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("rtsp://", "no valid host"),
        ("rtsp:///path", "no valid host"),
        ("rtsp:cam/1", "no valid host"),
        (f"rtsp://u:{SECRET}@/live", "no valid host"),
        (f"rtsp://u:{SECRET}@ca m/live", "blank"),
        (f"rtsp://u:{SECRET} x@cam/live", "blank"),
        (f"rtsp://u:{SECRET}@cam/\x1b[0m", "blank or control"),
        (f"rtsp://u:{SECRET}@cam:99999/1", "a port is 1 to 65535"),
        (f"rtsp://u:{SECRET}@cam:0/1", "port 0"),
        (f"rtsp://u:{SECRET}@cam:port/1", "malformed host or port"),
        (f"rtsp://u:{SECRET}/x@cam/1", "%2F"),
        (f"rtsp://u:{SECRET}?x@cam/1", "%2F"),
        (f"rtsp://u:{SECRET}#x@cam/1", "%2F"),
        (f"rtsp://admin:2024/{SECRET}@cam/1", "%2F"),
        (f"rtsp://admin:12#{SECRET}@cam/1", "%2F"),
        (f"rtsp://admin:/{SECRET}@cam/1", "%2F"),
        (f"rtsp://u:{SECRET}@[::1/1", "malformed host"),
        (f"srt://u:{SECRET}@cam:9000", "of the kind srt"),
        (f"admin:{SECRET}@192.168.1.5:554/live", "must begin like rtsp://"),
        ("192.168.1.5:554/live", "must begin like rtsp://"),
        (f"cam/live?password={SECRET}", "no file or folder"),
        ("webcam:front", "webcam:0"),
        ("no/such/film.mp4", "There is no file or folder no/such/film.mp4."),
        ("synthetic:mall", "site and a camera"),
        ("synthetic:mall/cam1?seed=x", "no number"),
        ("synthetic:mall/cam1?colour=red", "colour"),
    ],
)
def test_a_wrong_address_is_refused_with_the_reason_and_without_the_password(text, reason):
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    told = str(caught.value)
    assert reason in told
    assert SECRET not in told
    assert told.count("\n") == 0
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "text",
    [
        f"[Errno 111] Connection refused: 'rtsp://admin:{SECRET}@10.0.0.2/live'",
        f"rtsp://{SECRET}@cam and http://x:{SECRET}@y/z",
        f"GET https://cam/live.m3u8?channel=1&auth={SECRET}&x=1 failed",
        f"rtsp://admin:{SECRET}/with@slashes?and#marks@cam/1",
        f"rtsp://cam/live/password={SECRET}/1",
        f"tls://admin:p@{SECRET}@cam:322?verify=0",
    ],
)
def test_any_text_loses_the_secrets_in_its_urls(text):
    assert SECRET not in redact(text)
    assert "***" in redact(text)


def test_innocent_text_stays_as_it_is():
    text = "cam2 gave 25 frames/s, see a@b.org and rtsp://10.0.0.2:554/Streaming/Channels/101?channel=2"
    assert redact(text) == text


def test_an_address_hides_its_password_outside_urls_and_in_its_own_repr():
    address = parse_address("rtsp://admin:s%40cret+word@cam/1?token=abcdef")
    for text in (
        "bad password s@cret+word",
        "s%40cret%2Bword",
        f"open {address.location}",
        "abcdef",
    ):
        shown = address.redact(text)
        assert "cret" not in shown
        assert "abcdef" not in shown
    assert "cret" not in repr(address)
    assert "cret" not in f"{address}"


def test_cameras_are_named_after_files_or_by_place_and_never_alike(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("Hall 1.mp4", "a/hall_1.avi", "frame=1.mkv"):
        (tmp_path / name).write_bytes(b"x")
    pictures = tmp_path / "MOT17-05" / "img1"
    pictures.mkdir(parents=True)
    (pictures / "000001.jpg").write_bytes(b"x")
    texts = [
        *(str(tmp_path / name) for name in ("Hall 1.mp4", "a/hall_1.avi")),
        "rtsp://hall/1",
        str(pictures),
        f"file://{tmp_path}/frame=1.mkv",
        "webcam:0",
        "synthetic:mall/cam3",
        "rtsp://u:p@hall/2",
    ]
    addresses = [parse_address(text) for text in texts]
    assert [address.kind for address in addresses[3:6]] == [
        AddressKind.FOLDER,
        AddressKind.FILE,
        AddressKind.WEBCAM,
    ]
    assert name_cameras(addresses) == [
        "Hall_1",
        "hall_1-2",
        "cam3",
        "MOT17-05",
        "frame_1",
        "cam6",
        "cam3-2",
        "cam8",
    ]


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(AddressError, match="holds no pictures"):
        parse_address(str(tmp_path))
