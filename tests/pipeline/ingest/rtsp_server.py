"""A real RTSP server for the tests: `rtsp_server.py PORT [--login USER PASSWORD] NAME=FILE…`.

Runs with the system's Python, which has GStreamer's bindings. Every client gets the film from its
beginning, in real time. Prints `ready` when it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

DEMUXERS = {"mp4": "qtdemux name=d d.video_0", "ts": "tsdemux name=d d."}


def protect(server, user, password):
    """Digest authentication for everything on this server."""
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    guard = GstRtspServer.RTSPAuth()
    guard.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    guard.add_digest(user, password, token)
    server.set_auth(guard)


def main(port, *arguments):
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    login = arguments[0] == "--login"
    if login:
        protect(server, *arguments[1:3])
        arguments = arguments[3:]
    for argument in arguments:
        name, _, path = argument.partition("=")
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(
            f'( filesrc location="{path}" ! {DEMUXERS[path.rsplit(".")[-1]]} ! queue ! h264parse'
            " ! rtph264pay name=pay0 pt=96 config-interval=1 )"
        )
        factory.set_shared(False)
        if login:
            structure = Gst.Structure.from_string(
                "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
            )[0]
            factory.add_role_from_structure(structure)
        server.get_mount_points().add_factory(f"/{name}", factory)
    server.attach(None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
