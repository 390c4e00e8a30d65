/** Bytes of a frame's header; the payload of a data frame follows it. */
export const headerBytes = 12

/**
 * Most payload of one data frame that we send. With what is read from a socket at a time, one frame and one write of the
 * carrier carry it.
 */
export const maxFrameBytes = 65_536

/** What either side may send in a new stream before it is granted more. Fixed by the protocol. */
export const initialWindowBytes = 262_144

export const FrameType = { data: 0, windowUpdate: 1, ping: 2, goAway: 3 } as const
export type FrameType = (typeof FrameType)[keyof typeof FrameType]

/** Bits of a header's flags. */
export const Flag = { syn: 1, ack: 2, fin: 4, rst: 8 } as const
/** All bits that have a meaning. */
export const knownFlags = 15

/** Lengths of a go-away frame. */
export const GoAwayCode = { normal: 0, protocolError: 1, internalError: 2 } as const
export type GoAwayCode = (typeof GoAwayCode)[keyof typeof GoAwayCode]

/** Writes a header of version 0 into 12 bytes at `at`. `length` is the payload's, a grant, a ping's value or a go-away code. */
export function writeHeader(
  into: Uint8Array,
  at: number,
  type: FrameType,
  flags: number,
  streamId: number,
  length: number,
): void {
  into[at] = 0
  into[at + 1] = type
  into[at + 2] = 0
  into[at + 3] = flags
  into[at + 4] = streamId >>> 24
  into[at + 5] = streamId >>> 16
  into[at + 6] = streamId >>> 8
  into[at + 7] = streamId
  into[at + 8] = length >>> 24
  into[at + 9] = length >>> 16
  into[at + 10] = length >>> 8
  into[at + 11] = length
}
