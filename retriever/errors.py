"""Everything reelseek raises on purpose.

ReelseekError
  MediaError        CannotOpen (NotThere · Unreachable) · CannotDecode (DecoderDied) · DecodeTimeout · NoSuchStream
                    OverLimit · CannotEncode · FileChanged
  StoreError        StoreLocked · StoreUnavailable (NoLibrary) · WrongFormat · WrongRecipe · SpaceMismatch · NoSuchMedia
                    DiskFull · NoSuchJob · JobOver
  WeightsError      MissingWeights · AlteredWeights · UnknownModel · WrongCheckpoint · PullError
  PluginError       UnknownPlugin · MissingExtra
  QueryError
  ManifestError
  HeadError
  BenchmarkError
  TrainingError
  BadSettings
  DeviceError

A message has the name, the value, what was wanted and the way out, on one line.  The caller's own slip
(a negative limit, say) is a `ValueError`, never one of these: these are about the state of the world.
"""


class ReelseekError(Exception):
    """The root of everything that reelseek raises on purpose."""


class MediaError(ReelseekError):
    """One media file cannot be used.  The file is quarantined; the run goes on."""


class CannotOpen(MediaError):
    """The file is missing, unreadable, empty or not media."""


class NotThere(CannotOpen):
    """A server says that it has no such object."""


class Unreachable(CannotOpen):
    """A server gave no answer, or none but that it is busy, for as long as anybody waits."""


class CannotDecode(MediaError):
    """The file opened, but a stream of it broke, or its decoder died."""


class DecoderDied(CannotDecode):
    """The decoder's process ended in the middle: this file's fault, or want of memory."""


class DecodeTimeout(MediaError):
    """The decoder gave no answer within its time limit, and was stopped."""


class NoSuchStream(MediaError):
    """The file has no stream of the kind that was asked for."""


class CannotEncode(MediaError):
    """An encoder failed over what came out of the file."""


class FileChanged(MediaError):
    """The file became another one while it was read."""


class OverLimit(MediaError):
    """The file is longer or larger than whoever started the run wants to take."""


class StoreError(ReelseekError):
    """A library cannot be read or written."""


class StoreLocked(StoreError):
    """Another process holds the library for long work; the message says who, and since when."""


class StoreUnavailable(StoreError):
    """The library cannot be reached, or its place cannot hold one."""


class NoLibrary(StoreUnavailable):
    """There is none at this place, and nobody asked for one to be made."""


class WrongFormat(StoreError):
    """The library was written by another format version; the message names the command that upgrades it."""


class WrongRecipe(StoreError):
    """The library was made with another recipe; the message names the command that helps."""


class SpaceMismatch(StoreError):
    """Vectors of one space were offered to another.  Spaces never mix."""


class NoSuchMedia(StoreError):
    """No media of the library has this key, reference or path."""


class NoSuchJob(StoreError):
    """The library knows no indexing job of this id."""


class JobOver(StoreError):
    """The job came to its end, and cannot be steered any more."""


class DiskFull(StoreError):
    """The disk is full.  What was committed stays; what was being written is taken back."""


class WeightsError(ReelseekError):
    """The weights of an encoder cannot be used."""


class MissingWeights(WeightsError):
    """The package that carries the weights is not installed."""


class AlteredWeights(WeightsError):
    """The weights on disk do not have the SHA-256 that was pinned."""


class PluginError(ReelseekError):
    """A plug-in cannot be had."""


class UnknownPlugin(PluginError):
    """No file of this name in the plug-in folder; the message lists those that are there."""


class MissingExtra(PluginError):
    """The plug-in is here, its library is not; the message has the extra that brings it."""


class QueryError(ReelseekError):
    """The query cannot be understood: empty, or too long."""


class ManifestError(ReelseekError):
    """A line of a manifest is wrong; the message has its number."""


class HeadError(ReelseekError):
    """The trained weights of a reranker cannot be used: a file is missing, broken, or of another kind."""


class BenchmarkError(ReelseekError):
    """An evaluation cannot be run on what was brought; the message names the file, and the line where there is one."""


class TrainingError(ReelseekError):
    """Nothing can be trained on what was brought, or a training run cannot go on where it stopped."""


class BadSettings(ReelseekError):
    """One or more settings are wrong; the message has a line for each."""


class UnknownModel(WeightsError):
    """There is no model of this name, or it is of another family; the message has the nearest names."""


class WrongCheckpoint(WeightsError):
    """A file of weights cannot be read safely, or holds another architecture than was wanted."""


class PullError(WeightsError):
    """A model could not be pulled: no network, not allowed, not there, another hash, no room.  Nothing is half left."""


class DeviceError(ReelseekError):
    """The device that was asked for is not here, cannot calculate in that precision, or has too little memory."""
