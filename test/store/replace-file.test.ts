import { readFileSync, writeFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { replaceFile } from '../../src/store/replace-file.js'
import { temporaryDirectory } from './support.js'

// What a power cut leaves cannot be seen from here, so that this looks at what is asked of the system.
vi.mock('node:fs/promises', async (original) => {
  const actual = await original<typeof fs>()
  return { ...actual, open: vi.fn(actual.open) }
})

/** A file that holds `before`. */
function fileBefore(): string {
  const path = join(temporaryDirectory(), 'store.json')
  writeFileSync(path, 'before')
  onTestFinished(() => void vi.mocked(fs.open).mockReset())
  return path
}

it('the directory is synced once it has the new file, or a power cut would bring the earlier one back', async () => {
  const path = fileBefore()
  const { open } = await vi.importActual<typeof fs>('node:fs/promises')
  const whenSynced: string[] = []
  vi.mocked(fs.open).mockImplementation(async (name, flags) => {
    const handle = await open(name, flags)
    const sync = handle.sync.bind(handle)
    handle.sync = async () => {
      if (name === dirname(path)) whenSynced.push(readFileSync(path, 'utf8'))
      return sync()
    }
    return handle
  })
  await replaceFile(path, ['af', 'ter'])
  expect(whenSynced).toEqual(['after'])
})

it('a directory that cannot be synced fails nothing: the file has been replaced', async () => {
  const path = fileBefore()
  vi.mocked(fs.open).mockRejectedValue(new Error('EISDIR'))
  await replaceFile(path, ['after'])
  expect(readFileSync(path, 'utf8')).toBe('after')
})
