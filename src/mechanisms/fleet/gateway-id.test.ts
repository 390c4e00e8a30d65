import { describe, expect, it } from 'vitest'
import { gatewayId, isGatewayId, newGatewayId } from './gateway-id.ts'

describe('the id of a gateway', () => {
  it.each(['a', 'edge-1.example.com', 'x'.repeat(64)])('%s is one', (text) => {
    expect(gatewayId(text)).toBe(text)
  })

  it.each(['', 'a b', 'a:b', 'ä', 'a*', 'x'.repeat(65)])('"%s" is none', (text) => {
    expect(() => gatewayId(text)).toThrow(expect.objectContaining({ code: 'FLEET_BAD_ID' }))
  })

  it('is made of a name, new each time, whatever the name is', () => {
    const [first, second] = [newGatewayId('edge-1'), newGatewayId('edge-1')]
    expect(first).toMatch(/^edge-1-[\da-f]{8}$/)
    expect(second).not.toBe(first)
    for (const name of ['', 'a b:ä', 'x'.repeat(300)]) expect(isGatewayId(newGatewayId(name))).toBe(true)
  })
})
