import { describe, expect, it } from 'vitest'
import type { FleetMember } from './contract.ts'
import { gatewayId } from './gateway-id.ts'
import { isChosen } from './is-chosen.ts'

const ids = ['a', 'b', 'c'].map(gatewayId)
const members = ids.map((id) => ({ id }) as FleetMember)
const chosen = (name: string, among = members): readonly string[] =>
  among.flatMap(({ id }) => (isChosen({ id, members: () => among }, name) ? [id] : []))

describe('who does what one has to do', () => {
  it('is one of all, and not always the same', () => {
    const names = Array.from({ length: 100 }, (_, at) => `origin-${at}`)
    for (const name of names) expect(chosen(name)).toHaveLength(1)
    expect(new Set(names.flatMap((name) => chosen(name)))).toEqual(new Set(ids))
  })

  it('is the one that is alone', () => {
    expect(chosen('origin', members.slice(0, 1))).toEqual(['a'])
  })
})
