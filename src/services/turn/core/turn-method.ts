import { type StunMessage, StunMethod } from '../../../protocols/stun/index.ts'

/** Methods that are counted; labels of a metric. */
export type TurnMethod =
  | 'binding'
  | 'allocate'
  | 'refresh'
  | 'create-permission'
  | 'channel-bind'
  | 'connect'
  | 'connection-bind'

/** Methods that are served to who proves who they are; the others are passed over (RFC 8489 §6.3). */
export const provedMethods: ReadonlyMap<number, TurnMethod> = new Map<number, TurnMethod>([
  [StunMethod.allocate, 'allocate'],
  [StunMethod.refresh, 'refresh'],
  [StunMethod.createPermission, 'create-permission'],
  [StunMethod.channelBind, 'channel-bind'],
  [StunMethod.connect, 'connect'],
  [StunMethod.connectionBind, 'connection-bind'],
])

/** What a request is counted as. */
export function methodOf(message: StunMessage): TurnMethod {
  return provedMethods.get(message.method) ?? 'binding'
}
