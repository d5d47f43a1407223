"""OCI distribution-spec 1.1, endpoint by endpoint (end-1 to end-12b), as raw requests."""
import http.client
import json
import os
import signal
import socket
import time
import unittest
import urllib.parse

from support import DEADLINE_S, EMPTY, INDEX, MANIFEST, Registry, RegistryTest, descriptor, digest, image_of

BLOB = bytes(range(256)) * 1200  # more than one chunk of the server's


class Protocol(RegistryTest):
    def get(self, path, **headers):
        return self.registry.request("GET", path, **headers)

    def test_base_and_unknown_paths(self):
        self.assertEqual(self.get("/v2/").status, 200)
        self.assertEqual(self.get("/v2/").headers["Docker-Distribution-API-Version"], "registry/2.0")
        for path in ("/", "/v1/", "/v2/app", "/v2/app/other/x", "/v2/%00"):
            self.assertEqual(self.get(path).status, 404, path)
        bad = self.get("/v2/App/tags/list")
        self.assertEqual((bad.status, bad.code()), (400, "NAME_INVALID"))
        self.assertEqual(self.get("/v2/app/tags/list").code(), "NAME_UNKNOWN")
        self.assertEqual(self.registry.request("POST", "/v2/app/tags/list").status, 405)

    def test_monolithic_upload_and_ranges(self):
        own = self.registry.push_blob("a/b", BLOB)
        path = f"/v2/a/b/blobs/{own}"
        head = self.registry.request("HEAD", path)
        self.assertEqual((head.status, head.headers["Content-Length"], head.headers["Docker-Content-Digest"], head.body), (200, str(len(BLOB)), own, b""))
        whole = self.get(path)
        self.assertEqual((whole.status, whole.body), (200, BLOB))
        for text, want in (("bytes=0-0", BLOB[:1]), ("bytes=5-9", BLOB[5:10]), ("bytes=300000-", BLOB[300000:]), ("bytes=-7", BLOB[-7:]), ("bytes=10-99999999", BLOB[10:])):
            part = self.get(path, Range=text)
            self.assertEqual((part.status, part.body), (206, want), text)
        self.assertEqual(self.get(path, Range="bytes=5-9").headers["Content-Range"], f"bytes 5-9/{len(BLOB)}")
        past = self.get(path, Range=f"bytes={len(BLOB)}-")
        self.assertEqual((past.status, past.headers["Content-Range"]), (416, f"bytes */{len(BLOB)}"))
        self.assertEqual(self.get(path, Range="bytes=9-5").status, 416)
        for text in ("bytes=0-1,4-5", "lines=1-2", "bytes=x"):
            self.assertEqual((self.get(path, Range=text).status), 200, text)
        self.assertEqual(self.get(f"/v2/other/blobs/{own}").code(), "BLOB_UNKNOWN")
        self.assertEqual(self.get("/v2/a/b/blobs/sha256:12").code(), "DIGEST_INVALID")

    def begin(self, repository="app"):
        answer = self.registry.request("POST", f"/v2/{repository}/blobs/uploads/", b"", Content_Length="0")
        self.assertEqual(answer.status, 202)
        return answer.headers["Location"]

    def test_chunked_upload(self):
        where = self.begin()
        first = self.registry.request("PATCH", where, BLOB[:1000], Content_Range="0-999", Content_Type="application/octet-stream")
        self.assertEqual((first.status, first.headers["Range"]), (202, "0-999"))
        for wrong in ("500-1499", "1001-2000", "0-999"):
            answer = self.registry.request("PATCH", where, BLOB[:1000], Content_Range=wrong)
            self.assertEqual((answer.status, answer.headers["Range"]), (416, "0-999"), wrong)
        short = self.registry.request("PATCH", where, BLOB[:10], Content_Range="1000-1999")
        self.assertEqual((short.status, short.code()), (400, "SIZE_INVALID"))
        self.assertEqual(self.registry.request("PATCH", where, b"x", Content_Range="nonsense").code(), "BLOB_UPLOAD_INVALID")
        status = self.get(where)
        self.assertEqual((status.status, status.headers["Range"], status.headers["Location"]), (204, "0-999", where))
        self.assertEqual(self.registry.request("PATCH", where, BLOB[1000:5000]).status, 202)  # streamed: no range
        last = self.registry.request("PUT", where + "?digest=" + digest(BLOB), BLOB[5000:], Content_Range=f"5000-{len(BLOB) - 1}")
        self.assertEqual((last.status, last.headers["Location"], last.headers["Docker-Content-Digest"]), (201, f"/v2/app/blobs/{digest(BLOB)}", digest(BLOB)))
        self.assertEqual(self.get(last.headers["Location"]).body, BLOB)
        self.assertEqual(self.get(where).code(), "BLOB_UPLOAD_UNKNOWN")

    def test_upload_that_does_not_match_leaves_nothing(self):
        where = self.begin()
        self.registry.request("PATCH", where, b"abc")
        self.assertEqual(self.registry.request("PUT", where).code(), "DIGEST_INVALID")
        wrong = self.registry.request("PUT", where + "?digest=" + digest(b"abd"))
        self.assertEqual((wrong.status, wrong.code()), (400, "DIGEST_INVALID"))
        self.assertEqual(self.get(where).status, 404)
        where = self.begin()
        self.assertEqual(self.registry.request("DELETE", where).status, 204)
        self.assertEqual(self.registry.request("DELETE", where).code(), "BLOB_UPLOAD_UNKNOWN")
        self.assertEqual(self.get(self.begin().replace("/app/", "/other/")).status, 404)
        self.assertEqual(self.registry.blobs(), set())

    def test_empty_blob(self):
        where = self.begin()
        self.assertEqual(self.registry.request("PUT", where + "?digest=" + digest(b""), b"").status, 201)
        self.assertEqual(self.get(f"/v2/app/blobs/{digest(b'')}").headers["Content-Length"], "0")

    def test_a_broken_request_keeps_what_arrived(self):
        where = self.begin()
        with socket.create_connection(("127.0.0.1", self.registry.port)) as s:
            s.sendall(f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BLOB)}\r\n\r\n".encode() + BLOB[:300000])
            s.shutdown(socket.SHUT_WR)
            s.recv(1)
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            at = int(self.get(where).headers["Range"].split("-")[1])
            at += 1 if at > 0 else 0
            answer = self.registry.request("PATCH", where, BLOB[at:], Content_Range=f"{at}-{len(BLOB) - 1}")
            if answer.status == 202:
                break
            self.assertIn(answer.status, (409, 416))  # the server has not noticed yet
        self.assertEqual(self.registry.request("PUT", where + "?digest=" + digest(BLOB)).status, 201)

    def test_mount(self):
        own = self.registry.push_blob("one", BLOB)
        mounted = self.registry.request("POST", f"/v2/two/blobs/uploads/?mount={own}&from=one")
        self.assertEqual((mounted.status, mounted.headers["Location"]), (201, f"/v2/two/blobs/{own}"))
        self.assertEqual(self.get(f"/v2/two/blobs/{own}").body, BLOB)
        self.assertEqual(self.registry.request("POST", f"/v2/three/blobs/uploads/?mount={own}").status, 201)  # from anywhere
        self.assertEqual(self.registry.request("POST", f"/v2/two/blobs/uploads/?mount={digest(b'x')}&from=one").status, 202)
        self.assertEqual(self.registry.request("POST", f"/v2/four/blobs/uploads/?mount={own}&from=nowhere").status, 202)
        # Deleted where it came from, it stays where it was mounted, until that goes too.
        self.assertEqual(self.registry.request("DELETE", f"/v2/one/blobs/{own}").status, 202)
        self.assertEqual(self.get(f"/v2/one/blobs/{own}").status, 404)
        self.assertEqual(self.get(f"/v2/two/blobs/{own}").body, BLOB)
        self.registry.request("DELETE", f"/v2/two/blobs/{own}")
        self.assertEqual(self.registry.blobs(), {own})
        self.registry.request("DELETE", f"/v2/three/blobs/{own}")
        self.assertEqual(self.registry.blobs(), set())
        self.assertEqual(self.registry.request("DELETE", f"/v2/three/blobs/{own}").code(), "BLOB_UNKNOWN")

    def test_manifests(self):
        own = self.registry.push_image("app", "v1")
        for reference in ("v1", own):
            answer = self.get(f"/v2/app/manifests/{reference}")
            self.assertEqual((answer.status, answer.headers["Content-Type"], answer.headers["Docker-Content-Digest"], digest(answer.body)), (200, MANIFEST, own, own))
            head = self.registry.request("HEAD", f"/v2/app/manifests/{reference}")
            self.assertEqual((head.status, head.headers["Content-Length"], head.body), (200, str(len(answer.body)), b""))
        self.assertEqual(self.get("/v2/app/manifests/v2").code(), "MANIFEST_UNKNOWN")
        self.assertEqual(self.get("/v2/app/manifests/.v2").code(), "MANIFEST_UNKNOWN")
        self.assertEqual(self.get("/v2/other/manifests/v1").code(), "NAME_UNKNOWN")
        _, wrong = self.registry.put("app", digest(b"x"), image_of(b"{}", [b"layer"]))
        self.assertEqual((wrong.status, wrong.code()), (400, "DIGEST_INVALID"))
        _, missing = self.registry.put("app", "v2", image_of(b"{}", [b"not here"]))
        self.assertEqual((missing.status, missing.code()), (404, "MANIFEST_BLOB_UNKNOWN"))
        _, elsewhere = self.registry.put("other", "v1", image_of(b"{}", [b"layer"]))  # another repository's blobs do not count
        self.assertEqual(elsewhere.code(), "MANIFEST_BLOB_UNKNOWN")
        for document, media_type in (([], MANIFEST), ({"schemaVersion": 1}, MANIFEST), (image_of(b"{}", []), INDEX), (image_of(b"{}", []), "text/plain"),
                                     ({**image_of(b"{}", []), "manifests": []}, MANIFEST), ({**image_of(b"{}", []), "layers": [{"digest": "x"}]}, MANIFEST)):
            _, bad = self.registry.put("app", "v2", document, media_type)
            self.assertEqual((bad.status, bad.code()), (400, "MANIFEST_INVALID"), document)
        self.assertEqual(self.registry.request("PUT", "/v2/app/manifests/v2", b"{", Content_Type=MANIFEST).code(), "MANIFEST_INVALID")
        self.assertEqual(self.registry.put("app", "-v2", image_of(b"{}", []))[1].code(), "MANIFEST_INVALID")
        # Whoever deletes a tag deletes the tag; whoever deletes a digest deletes its tags too.
        self.registry.push_image("app", "v2")
        self.assertEqual(self.registry.request("DELETE", "/v2/app/manifests/v2").status, 202)
        self.assertEqual(self.get("/v2/app/manifests/v2").status, 404)
        self.assertEqual(self.get("/v2/app/manifests/v1").status, 200)
        self.assertEqual(self.registry.request("DELETE", f"/v2/app/manifests/{own}").status, 202)
        self.assertEqual(self.get("/v2/app/manifests/v1").status, 404)
        self.assertEqual(self.get("/v2/app/tags/list").json(), {"name": "app", "tags": []})
        self.assertEqual(self.registry.request("DELETE", f"/v2/app/manifests/{own}").code(), "MANIFEST_UNKNOWN")
        self.assertNotIn(own, self.registry.blobs())

    def test_largest_manifest(self):
        self.registry.push_blob("app", b"{}")
        document = {**image_of(b"{}", []), "annotations": {"a": ""}}
        room = (4 << 20) - len(json.dumps(document))
        document["annotations"]["a"] = "x" * room
        own, answer = self.registry.put("app", "big", document)
        self.assertEqual(answer.status, 201)
        self.assertEqual(len(self.get(f"/v2/app/manifests/{own}").body), 4 << 20)
        document["annotations"]["a"] += "x"
        _, answer = self.registry.put("app", "bigger", document)
        self.assertEqual((answer.status, answer.code()), (413, "SIZE_INVALID"))

    def test_index_tags_and_pages(self):
        own = self.registry.push_image("app", "b")
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": MANIFEST, "digest": own, "size": 1}, descriptor(b"not here", MANIFEST)]}
        _, answer = self.registry.put("app", "many", index, INDEX)
        self.assertEqual(answer.status, 201)
        self.assertEqual(self.get("/v2/app/manifests/many").headers["Content-Type"], INDEX)
        for tag in ("A", "a1", "c", "_x"):
            self.registry.push_image("app", tag)
        tags = ["A", "_x", "a1", "b", "c", "many"]
        self.assertEqual(self.get("/v2/app/tags/list").json(), {"name": "app", "tags": tags})
        seen, path = [], "/v2/app/tags/list?n=4"
        while path:
            answer = self.get(path)
            seen.append(answer.json()["tags"])
            link = answer.headers["Link"]
            path = link and link[1:link.index(">")]
        self.assertEqual(seen, [tags[:4], tags[4:]])
        self.assertEqual(self.get("/v2/app/tags/list?n=0").json()["tags"], [])
        self.assertEqual(self.get("/v2/app/tags/list?n=2&last=a").json()["tags"], ["a1", "b"])
        self.assertEqual(self.get("/v2/app/tags/list?n=-1").code(), "PAGINATION_NUMBER_INVALID")
        self.assertEqual(self.get("/v2/_catalog").json(), {"repositories": ["app"]})

    def test_referrers(self):
        subject = self.registry.push_image("app", "v1")
        empty = self.get(f"/v2/app/referrers/{digest(b'nothing')}")
        self.assertEqual((empty.status, empty.headers["Content-Type"], empty.json()), (200, INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}))
        about = {"mediaType": MANIFEST, "digest": subject, "size": 1}
        made = {}
        for kind, note in (("application/sbom", "one"), ("application/sig", "two")):
            document = image_of(b"{}", [], subject=about, artifactType=kind, annotations={"note": note})
            document["config"]["mediaType"] = EMPTY
            own, answer = self.registry.put("app", digest(json.dumps(document).encode()), document)
            self.assertEqual((answer.status, answer.headers["OCI-Subject"]), (201, subject))
            made[own] = {"mediaType": MANIFEST, "digest": own, "size": len(json.dumps(document)), "artifactType": kind, "annotations": {"note": note}}
        plain = self.registry.push_image("app", "about", subject=about)  # its configuration's type stands for its own
        found = self.get(f"/v2/app/referrers/{subject}").json()["manifests"]
        self.assertEqual([d["digest"] for d in found], sorted([*made, plain]))
        for d in found:
            if d["digest"] != plain:
                self.assertEqual(d, made[d["digest"]])
        filtered = self.get(f"/v2/app/referrers/{subject}?artifactType={urllib.parse.quote('application/sig', safe='')}")
        self.assertEqual(filtered.headers["OCI-Filters-Applied"], "artifactType")
        self.assertEqual([d["annotations"]["note"] for d in filtered.json()["manifests"]], ["two"])
        self.assertEqual(self.get("/v2/app/referrers/v1").status, 400)
        # A subject need not be there.
        self.assertEqual(self.registry.put("app", "early", image_of(b"{}", [], subject=descriptor(b"later", MANIFEST)))[1].status, 201)
        self.registry.request("DELETE", f"/v2/app/manifests/{plain}")
        self.assertEqual(len(self.get(f"/v2/app/referrers/{subject}").json()["manifests"]), 2)

    def test_many_pages_of_referrers(self):
        self.registry.push_blob("app", b"{}")
        note = "x" * (1 << 20)
        want = {self.registry.put("app", f"t{i}", image_of(b"{}", [], subject=descriptor(b"s", MANIFEST), annotations={"n": f"{i}{note}"}))[0] for i in range(6)}
        seen, path = [], f"/v2/app/referrers/{digest(b's')}"
        pages = 0
        while path:
            answer = self.get(path)
            seen += [d["digest"] for d in answer.json()["manifests"]]
            self.assertLess(len(answer.body), 5 << 20)
            link = answer.headers["Link"]
            path = link and link[1:link.index(">")]
            pages += 1
        self.assertEqual((sorted(seen), pages), (sorted(want), 2))

    def test_every_way_of_pushing_takes_sha512(self):
        own, url, kind = digest(BLOB, "sha512"), "/v2/app/blobs/uploads/", {"Content_Type": "application/octet-stream"}
        self.assertEqual(self.registry.request("POST", f"{url}?digest={own}", BLOB, **kind).status, 201)
        self.assertEqual(self.registry.request("PUT", f"{self.begin()}?digest={own}", BLOB, **kind).status, 201)
        where = self.begin()
        self.registry.request("PATCH", where, BLOB[:1000], Content_Range="0-999")
        last = self.registry.request("PUT", f"{where}?digest={own}", BLOB[1000:], Content_Range=f"1000-{len(BLOB) - 1}")
        self.assertEqual((last.status, last.headers["Location"], last.headers["Docker-Content-Digest"]), (201, f"/v2/app/blobs/{own}", own))
        head = self.registry.request("HEAD", last.headers["Location"])
        self.assertEqual((head.status, head.headers["Docker-Content-Digest"], self.get(last.headers["Location"]).body), (200, own, BLOB))
        self.assertEqual(self.get(f"/v2/app/blobs/{digest(BLOB)}").status, 404)  # it came under the other name
        for wrong in (digest(b"other", "sha512"), own[:-1], "sha384:" + "0" * 96):
            answer = self.registry.request("POST", f"{url}?digest={wrong}", BLOB, **kind)
            self.assertEqual((answer.status, answer.code()), (400, "DIGEST_INVALID"))
        self.assertEqual(self.registry.request("POST", f"/v2/two/blobs/uploads/?mount={own}&from=app").status, 201)
        self.assertEqual(self.registry.request("POST", f"{url}?digest={digest(b'{}', 'sha512')}", b"{}", **kind).status, 201)
        subject = descriptor(b"subject", MANIFEST, "sha512")
        text = json.dumps(image_of(b"{}", [BLOB], "sha512", subject=subject)).encode()
        name = digest(text, "sha512")
        put = self.registry.request("PUT", f"/v2/app/manifests/{name}?tag=one&tag=two", text, Content_Type=MANIFEST)
        self.assertEqual((put.status, put.headers["Docker-Content-Digest"], put.headers["OCI-Subject"], put.headers["Location"]), (201, name, subject["digest"], f"/v2/app/manifests/{name}"))
        self.assertEqual([d["digest"] for d in self.get(f"/v2/app/referrers/{subject['digest']}").json()["manifests"]], [name])
        self.registry.stop()
        self.registry.start()
        for reference in ("one", "two", name):
            answer = self.get(f"/v2/app/manifests/{reference}")
            self.assertEqual((answer.status, answer.headers["Docker-Content-Digest"], answer.body), (200, name, text))
        for path in (f"/v2/app/manifests/{name}", f"/v2/app/blobs/{own}", f"/v2/two/blobs/{own}"):
            self.assertEqual((self.registry.request("DELETE", path).status, self.get(path).status), (202, 404))
        self.assertEqual(os.listdir(self.folder + "/data/registry/blobs/sha512"), [digest(b"{}", "sha512")[7:]])

    def test_tags_beside_a_digest(self):
        self.registry.push_blob("app", b"{}")
        text = json.dumps(image_of(b"{}", [])).encode()
        put = lambda query: self.registry.request("PUT", f"/v2/app/manifests/{digest(text)}{query}", text, Content_Type=MANIFEST)  # noqa: E731
        answer = put("?tag=a&tag=b&tag=a")
        self.assertEqual((answer.status, answer.headers.get_all("OCI-Tag")), (201, ["a", "b"]))
        self.assertEqual((put("").status, put("").headers["OCI-Tag"], self.get("/v2/app/tags/list").json()["tags"]), (201, None, ["a", "b"]))
        self.assertEqual((put("?tag=c&tag=-").status, put("?" + "&".join(f"tag=t{i}" for i in range(51))).status), (400, 414))
        self.assertEqual((put("?" + "&".join(f"tag=t{i}" for i in range(50))).status, len(self.get("/v2/app/tags/list").json()["tags"])), (201, 52))
        self.assertEqual(self.get("/v2/app/manifests/b").body, text)

    def test_foreign_layers_need_not_be_here(self):
        self.registry.push_blob("app", b"{}")
        document = image_of(b"{}", [b"far away"])
        document["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        self.assertEqual(self.registry.put("app", "v1", document)[1].status, 201)

    def test_killed_at_every_step_it_comes_back_whole(self):
        self.registry.push_image("kept", "v1", (b"kept",))
        doomed = self.registry.push_blob("doomed", b"doomed")
        for point in ("registry.before_publish", "registry.before_record", "registry.before_unlink"):
            self.registry.stop()
            self.registry.start({"MONOPOD_FAILPOINTS": point + "=crash"})
            with self.assertRaises((http.client.HTTPException, OSError)):
                if point == "registry.before_unlink":
                    self.registry.request("DELETE", f"/v2/doomed/blobs/{doomed}")
                else:
                    self.registry.push_blob("app", point.encode())
            self.registry.process.wait()
            self.registry.start()
            self.assertEqual(self.get("/v2/kept/manifests/v1").status, 200)
            self.assertEqual(self.get(f"/v2/app/blobs/{digest(point.encode())}").status, 404)
            self.registry.push_blob("app", point.encode())
        self.assertEqual(self.get(f"/v2/doomed/blobs/{doomed}").status, 404)
        self.assertNotIn(doomed, self.registry.blobs())
        self.registry.process.send_signal(signal.SIGKILL)
        self.registry.process.wait()
        self.registry.start()
        self.assertEqual(self.get(f"/v2/kept/blobs/{digest(b'kept')}").body, b"kept")
        self.assertEqual(os.listdir(self.folder + "/data/registry/staging"), [])

    def test_one_process_owns_the_directory(self):
        with self.assertRaisesRegex(AssertionError, "in use"):
            Registry(self.folder)


if __name__ == "__main__":
    unittest.main(verbosity=1)
