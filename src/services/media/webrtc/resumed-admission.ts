import { streamKeyParts } from '../../../mechanisms/balancer/index.ts'
import type { MovableAdmission, SharedAccess } from '../access/index.ts'
import type { SessionFacts } from './session.ts'

/**
 * Lets a session in that another gateway served. @throws what `resume` throws
 *
 * @param untilMs wall time at which it must end
 */
export function resumedAdmission(
  access: SharedAccess,
  { id, streamKey, role, clientAddress, tokenHash }: SessionFacts,
  untilMs: number | undefined,
): MovableAdmission {
  const { vhost, app } = streamKeyParts(streamKey)
  const admission = access.resume({
    protocol: 'webrtc',
    role,
    key: streamKey,
    address: clientAddress,
    tcUrl: `webrtc://${vhost}/${app}`,
    sessionId: id,
    ...(untilMs !== undefined && { endsAtMs: untilMs }),
  })
  // Of one that another program made, nobody was told that it began.
  return tokenHash === undefined ? { ...admission, end: () => admission.handOver() } : admission
}
