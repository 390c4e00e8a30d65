import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { FileSource } from './file-source.ts'
import { keptLog } from './stunnerd.testkit.ts'

let folder: string
let stop: () => void = () => {}
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stunnerd-'))
})
afterEach(async () => {
  stop()
  await rm(folder, { recursive: true })
})

function watch(name: string, clock?: ManualClock) {
  const log = keptLog()
  const file = join(folder, name)
  const source = new FileSource({ file, logger: log.logger, ...(clock !== undefined && { clock }) })
  const delivered: string[] = []
  stop = source.watch((text) => delivered.push(text))
  return { delivered, file, lines: log.lines }
}

describe('a configuration file', () => {
  it('is read', async () => {
    const file = join(folder, 'a.yaml')
    await writeFile(file, 'version: v1')
    expect(await new FileSource({ file, logger: keptLog().logger }).load()).toBe('version: v1')
  })

  it('that is not there, or empty, is an error that names it', async () => {
    const file = join(folder, 'a.yaml')
    const source = new FileSource({ file, logger: keptLog().logger })
    await expect(source.load()).rejects.toMatchObject({
      code: 'STUNNERD_CONFIG_UNAVAILABLE',
      message: expect.stringContaining(file),
    })
    await writeFile(file, ' \n')
    await expect(source.load()).rejects.toThrow('is empty')
  })

  it('that is watched is handed over first as it is, then whenever it changes', async () => {
    await writeFile(join(folder, 'a.yaml'), 'one')
    const { delivered, file } = watch('a.yaml')
    await expect.poll(() => delivered).toEqual(['one'])
    await writeFile(file, 'two')
    await expect.poll(() => delivered).toEqual(['one', 'two'])
    // As editors do it.
    await writeFile(`${file}.new`, 'three')
    await rename(`${file}.new`, file)
    await expect.poll(() => delivered).toEqual(['one', 'two', 'three'])
  })

  it('is awaited when it is not there yet', async () => {
    const { delivered, file, lines } = watch('late.yaml')
    await expect.poll(() => lines.join('')).toContain('waiting for it')
    await writeFile(file, 'one')
    await expect.poll(() => delivered).toEqual(['one'])
  })

  it('is noticed when Kubernetes swaps the folder that it is linked into', async () => {
    for (const [name, text] of [
      ['..1', 'one'],
      ['..2', 'two'],
    ] as const) {
      await mkdir(join(folder, name))
      await writeFile(join(folder, name, 'stunnerd.conf'), text)
    }
    await symlink('..1', join(folder, '..data'))
    await symlink('..data/stunnerd.conf', join(folder, 'stunnerd.conf'))
    const { delivered } = watch('stunnerd.conf')
    await expect.poll(() => delivered).toEqual(['one'])
    await symlink('..2', join(folder, '..data_tmp'))
    await rename(join(folder, '..data_tmp'), join(folder, '..data'))
    await rm(join(folder, '..1'), { recursive: true })
    await expect.poll(() => delivered).toEqual(['one', 'two'])
    await writeFile(join(folder, '..2', 'stunnerd.conf'), 'three')
    await expect.poll(() => delivered).toEqual(['one', 'two', 'three'])
  })

  it('is looked at now and then where nothing tells of changes', async () => {
    const clock = new ManualClock()
    const { delivered, file } = watch('gone/a.yaml', clock)
    await expect.poll(() => clock.pending).toBe(1)
    await mkdir(join(folder, 'gone'))
    await writeFile(file, 'one')
    clock.advance(5000)
    await expect.poll(() => delivered).toEqual(['one'])
  })

  it('is waited with until the writer is done, and never handed over twice', async () => {
    await writeFile(join(folder, 'a.yaml'), 'one')
    const clock = new ManualClock()
    const { delivered, file, lines } = watch('a.yaml', clock)
    await expect.poll(() => [delivered, clock.pending]).toEqual([['one'], 1])
    await unlink(file)
    await writeFile(file, 'one')
    await writeFile(join(folder, 'other'), '')
    clock.advance(10_000)
    await expect.poll(() => clock.pending).toBe(1)
    expect(delivered).toEqual(['one'])
    expect(lines).toEqual([])
  })

  it('is left alone after its end', async () => {
    const clock = new ManualClock()
    const { delivered, file } = watch('a.yaml', clock)
    await expect.poll(() => clock.pending).toBe(1)
    stop()
    expect(clock.pending).toBe(0)
    await writeFile(file, 'one')
    clock.advance(10_000)
    expect(delivered).toEqual([])
  })
})
