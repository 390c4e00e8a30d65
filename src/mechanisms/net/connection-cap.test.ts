import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ConnectionCap } from './connection-cap.ts'

describe('ConnectionCap', () => {
  it('counts an IPv4 address in whichever form, and the /64 of an IPv6 address, as one', () => {
    const cap = new ConnectionCap({ maxConnectionsPerAddress: 2 })
    const admitted = (address: string): boolean => cap.admit(new Socket(), address)
    expect(['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.1', '192.0.2.2'].map(admitted)).toEqual([
      true,
      true,
      false,
      true,
    ])
    expect(['2001:db8::1', '2001:db8::2:1', '2001:db8::3', '2001:db8:0:1::1'].map(admitted)).toEqual([
      true,
      true,
      false,
      true,
    ])
    expect(cap.refused).toBe(2)
  })

  it('gives a place back when its connection closes', async () => {
    const cap = new ConnectionCap({ maxConnectionsPerAddress: 1 })
    const first = new Socket()
    expect(cap.admit(first, '2001:db8::1')).toBe(true)
    const closed = new Promise((resolve) => first.once('close', resolve))
    first.destroy()
    await closed
    expect(cap.admit(new Socket(), '2001:db8::2')).toBe(true)
  })
})
