import { expect, it } from 'vitest'
import { goPlatform } from './go-platform.ts'

it.each([
  ['linux', 'x64', 'linux', 'amd64'],
  ['win32', 'ia32', 'windows', '386'],
  ['darwin', 'arm64', 'darwin', 'arm64'],
])('%s on %s is %s on %s', (platform, arch, os, goArch) => {
  expect(goPlatform(platform, arch)).toEqual({ os, arch: goArch })
})
