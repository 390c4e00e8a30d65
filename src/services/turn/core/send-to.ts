import type { Client } from './client.ts'

/** Sends a client one message, and counts it for its listener. False when it was dropped. */
export function sendTo(client: Client, message: Uint8Array): boolean {
  if (!client.send(message)) return false
  const { traffic } = client.listener
  traffic.txPackets++
  traffic.txBytes += message.length
  return true
}
