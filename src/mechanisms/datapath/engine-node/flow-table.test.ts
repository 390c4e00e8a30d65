import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { FlowId } from '../contract.ts'
import { FlowTable, type SourceKey, type TableFlow } from './flow-table.ts'

it('finds what a plain list finds, through any adding and removing', () => {
  const source: fc.Arbitrary<SourceKey> = fc.record({
    address: fc.constantFrom('10.0.0.1', '10.0.0.2', '::1'),
    port: fc.constantFrom(1000, 1001),
    match: fc.option(fc.record({ offset: fc.constantFrom(0, 4), value: fc.constantFrom(0, 0xffffffff) }), {
      nil: undefined,
    }),
    channel: fc.constant(undefined),
    peer: fc.constant(undefined),
  })
  const operation = fc.record({ source, isRemoval: fc.boolean() })
  const packet = fc.tuple(
    fc.constantFrom('10.0.0.1', '10.0.0.2', '::1'),
    fc.constantFrom(1000, 1001, 1002),
    fc.constantFrom([], [0, 0, 0, 0], [1, 1, 1, 1, 255, 255, 255, 255], [255, 255, 255, 255, 0, 0, 0, 0, 9]),
  )
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), fc.array(packet), (operations, packets) => {
      const table = new FlowTable<TableFlow>()
      const list = new Map<string, TableFlow>()
      for (const [index, { source, isRemoval }] of operations.entries()) {
        const key = JSON.stringify(source)
        const present = list.get(key)
        if (isRemoval) {
          if (present !== undefined) table.remove(present)
          list.delete(key)
        } else {
          const flow = { id: (index + 1) as FlowId, source }
          expect(table.add(flow)).toBe(present === undefined)
          if (present === undefined) list.set(key, flow)
        }
      }
      for (const [address, port, bytes] of packets) {
        const packet = Buffer.from(bytes)
        const ofRemote = [...list.values()].filter(
          (flow) => flow.source.address === address && flow.source.port === port,
        )
        const matching = ofRemote.filter(({ source: { match } }) => {
          if (match === undefined || match.offset + 4 > packet.length) return false
          return packet.readUInt32BE(match.offset) === match.value
        })
        const found = table.find(address, port, packet)
        const plain = ofRemote.find((flow) => flow.source.match === undefined)
        if (matching.length > 0) expect(matching).toContain(found)
        else expect(found).toBe(plain)
        expect(table.plain(address, port)).toBe(plain)
      }
    }),
  )
})
