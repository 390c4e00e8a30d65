import type { Need } from '../../../../mechanisms/balancer/index.ts'

/** What is read over HTTP as a live body that has no end. */
export type LiveNeed = Extract<Need, 'flv' | 'ts' | 'aac' | 'mp3'>

/** Bytes within a buffer, which may be written to around them as far as its room goes. */
export interface Span {
  buffer: Uint8Array
  start: number
  end: number
}

/** What makes a whole of a body that broke off: so many zeros, then these bytes. */
export interface Seam {
  readonly zeros: number
  readonly tail: Uint8Array
}

/**
 * Follows a live body as it is passed on, so that it can break off anywhere and be gone on with by another body of the same
 * stream. It looks at the heads of tags and packets only and skips what they hold.
 */
export interface LiveSplice {
  /** Whether a viewer who has what was passed so far could make sense of another body behind it. */
  readonly canResume: boolean
  /**
   * Follows bytes of the body and narrows the span to what may be passed on now. Up to 187 bytes are held back, and put in
   * front of the span of a later call. False: what follows `resume` is not of this format.
   */
  pass(span: Span): boolean
  /** What is held back, for a body that has come to its end. */
  takeHeld(): Uint8Array
  /** The body has broken off, and what comes now is another one. The seam goes to the viewer before it. */
  resume(): Seam
}
