import { StunAttribute, type StunMessage } from '../../../protocols/stun/index.ts'
import type { Credential } from '../credentials/contract.ts'
import type { TurnLimits } from '../options.ts'

/**
 * How long an allocation may live from now, in seconds (RFC 8656 §7.2): what LIFETIME asks for, within bounds; an absent
 * one, and 0 in an Allocate, is the least. A strict credential's end is a bound too. Undefined when LIFETIME is malformed.
 */
export function grantLifetime(
  message: StunMessage,
  { expiresAtMs, isStrict }: Credential,
  { lifetimeSeconds, maxLifetimeSeconds }: Pick<TurnLimits, 'lifetimeSeconds' | 'maxLifetimeSeconds'>,
  wallMs: number,
): number | undefined {
  const value = message.attribute(StunAttribute.lifetime)
  const asked = value === undefined ? 0 : message.u32(StunAttribute.lifetime)
  if (asked === undefined) return undefined
  const granted = Math.max(lifetimeSeconds, Math.min(asked, maxLifetimeSeconds))
  if (isStrict !== true || expiresAtMs === undefined) return granted
  return Math.max(0, Math.min(granted, Math.floor((expiresAtMs - wallMs) / 1000)))
}
