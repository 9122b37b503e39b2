"""A picture to ask a service about."""

import cv2
import numpy as np

from aufleet.api.v1 import face_pb2


def aligned_frame() -> face_pb2.Frame:
    """Return a frame of 200 x 200 pixels with enough noise to count as sharp."""
    pixels = np.random.default_rng(0).integers(0, 255, (25, 25, 3), np.uint8)
    grown = cv2.resize(pixels, (200, 200), interpolation=cv2.INTER_NEAREST)
    return face_pb2.Frame(aligned=cv2.imencode(".jpg", grown)[1].tobytes())
