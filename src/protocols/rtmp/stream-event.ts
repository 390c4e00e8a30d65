import { UserControlEvent } from './message.ts'

/**
 * Changes, in place, the message stream that a stream event names in the payload of a User Control message, where
 * `streamIds` has another id for it. Payloads of other events stay as they are. RTMP 1.0 §7.1.7.
 */
export function mapEventStream(payload: Uint8Array, streamIds: ReadonlyMap<number, number>): void {
  if (payload.length < 6 || payload[0] !== 0 || payload[1]! > UserControlEvent.streamIsRecorded) return
  const view = new DataView(payload.buffer, payload.byteOffset)
  const mapped = streamIds.get(view.getUint32(2))
  if (mapped !== undefined) view.setUint32(2, mapped)
}
