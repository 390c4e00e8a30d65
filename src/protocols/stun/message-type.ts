/** STUN methods by the name their RFC gives them (RFC 8489 §18.2, 8656 §17, 6062 §6). */
export const StunMethod = {
  binding: 0x001,
  allocate: 0x003,
  refresh: 0x004,
  send: 0x006,
  data: 0x007,
  createPermission: 0x008,
  channelBind: 0x009,
  connect: 0x00a,
  connectionBind: 0x00b,
  connectionAttempt: 0x00c,
} as const

/** STUN message classes (RFC 8489 §5). */
export const StunClass = {
  request: 0,
  indication: 1,
  success: 2,
  error: 3,
} as const
export type StunClass = (typeof StunClass)[keyof typeof StunClass]

/** The 14-bit type field: the bits of the class sit between those of the method (RFC 8489 §5). */
export function encodeMessageType(method: number, messageClass: StunClass): number {
  return (
    (method & 0x00f) |
    ((method & 0x070) << 1) |
    ((method & 0xf80) << 2) |
    ((messageClass & 1) << 4) |
    ((messageClass & 2) << 7)
  )
}

/** The method within a type field. */
export function methodOf(type: number): number {
  return (type & 0x000f) | ((type & 0x00e0) >> 1) | ((type & 0x3e00) >> 2)
}

/** The class within a type field. */
export function classOf(type: number): StunClass {
  if ((type & 0x0100) === 0) return (type & 0x0010) === 0 ? StunClass.request : StunClass.indication
  return (type & 0x0010) === 0 ? StunClass.success : StunClass.error
}
