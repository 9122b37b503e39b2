"""Our own renderer of faces with exact labels: the embedded default data set.

canonical          MediaPipe's canonical face mesh, read from its model bundle
subdivision        Loop's scheme as sparse weights
landmark_vertices  vertices of lids, lips, brows and the 68 points
head               the canonical face grown into a head
units              how action units move the head, each side on its own
wrinkles           where and how deep skin creases
identity           who: shape, skin, age, brows, beard, hair, glasses
texture            the colours and the relief of a person's skin
props              eyeballs, teeth, ears, neck, clothes, long hair, glasses
palsy              what a House-Brackmann score takes away on one side
scene              pose, light, background, lens, sensor
compiling          how inner loops are compiled
geometry           inner loops over vertices and triangles
raster             inner loop of the z-buffer
shading            inner loop of light on pixels
sensor             inner loop of the camera
render             person + activations + scene -> frame with exact landmarks
expressions        which units act together, exercises of a palsy examination
settings           what a data set is made of
draw               subjects and their frames, each frame on its own
frequencies        how often published data sets show each unit, and which go together
presets            the shapes of BP4D, DISFA and FPara
courses            how intensities run over the frames of a sequence
grading            examinations in the published proportions of grades
house_brackmann    what a clinician finds at each score, and what the face then does
films              subjects of a preset: videos whose frames belong together
portrait           photos that are not aligned
"""

from aufleet.data.synthetic.draw import render_frames, render_subject, render_subjects
from aufleet.data.synthetic.expressions import EXERCISES
from aufleet.data.synthetic.films import FilmSettings, film_subject
from aufleet.data.synthetic.palsy import Palsy
from aufleet.data.synthetic.portrait import render_portrait
from aufleet.data.synthetic.presets import PRESETS, Preset
from aufleet.data.synthetic.render import RenderedFace
from aufleet.data.synthetic.settings import SyntheticSettings

__all__ = [
    "EXERCISES",
    "PRESETS",
    "FilmSettings",
    "Palsy",
    "Preset",
    "RenderedFace",
    "SyntheticSettings",
    "film_subject",
    "render_frames",
    "render_portrait",
    "render_subject",
    "render_subjects",
]
