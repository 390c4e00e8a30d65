import { readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { accessSchema } from '../../../mechanisms/config/access-schema.ts'
import { openControl, outcome, request } from './access.testkit.ts'

/** The rules in docs/access.md, one after the other. */
const examples = readFileSync(new URL('../../../../docs/access.md', import.meta.url), 'utf8')
  .split(/\n(?=\S)/)
  .filter((block) => block.includes('    [[media.access]]'))
  .map((block) => {
    const toml = block
      .split('\n')
      .filter((line) => line.startsWith('    '))
      .join('\n')
    return (parse(toml) as unknown as { readonly media: { readonly access: readonly object[] } }).media.access
  })

describe('the examples of docs/access.md', () => {
  it('are taken', () => {
    expect(examples).toHaveLength(5)
    for (const access of examples) expect(accessSchema.safeParse(access).error?.issues).toBeUndefined()
  })

  it('do what is said of them', async () => {
    const ask = (index: number, about: Parameters<typeof request>[0]): Promise<string> =>
      outcome(openControl(examples[index] ?? []).control.admit(request(about)))
    const live = { key: '__defaultVhost__/live/show' }
    expect(await ask(0, { ...live, query: 'key=change-me' })).toBe('allowed')
    expect(await ask(0, live)).toBe('ACCESS_CREDENTIALS_MISSING 401')
    expect(await ask(0, { ...live, role: 'play' })).toBe('allowed')
    expect(await ask(0, { key: '__defaultVhost__/other/show' })).toBe('ACCESS_DENIED 403')

    const camera = { key: '__defaultVhost__/cameras/1' }
    expect(await ask(1, { ...camera, address: '10.1.2.3' })).toBe('allowed')
    expect(await ask(1, camera)).toBe('ACCESS_ADDRESS_DENIED 403')
    expect(await ask(1, { ...camera, role: 'play' })).toBe('ACCESS_CREDENTIALS_MISSING 401')
    const channel = { key: '__defaultVhost__/live/channel-1' }
    expect(await ask(1, { ...channel, query: 'key=change-me' })).toBe('allowed')
    expect(await ask(1, { ...channel, role: 'play' })).toBe('allowed')
    expect(await ask(1, { ...live, role: 'play' })).toBe('ACCESS_DENIED 403')
  })
})
