import type * as Werift from 'werift'
import { DemoError, DemoErrorCode } from '../errors.ts'

/** What the package `werift` exports. */
export type WeriftModule = typeof Werift

/**
 * Loads the WebRTC implementation when the first session needs it: it takes a quarter of a second, which a
 * gateway that only relays should not pay.
 *
 * @throws DemoError `DEMO_WERIFT_MISSING`
 */
export async function loadWerift(): Promise<WeriftModule> {
  try {
    return await import('werift')
  } catch (cause) {
    throw new DemoError(
      DemoErrorCode.weriftMissing,
      'the package "werift" cannot be loaded, so the demo origin has no WHIP and WHEP: npm install werift',
      501,
      cause,
    )
  }
}
