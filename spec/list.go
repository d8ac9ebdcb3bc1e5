package spec

import "carrel/spec/document"

// unlist is a file's documents, with the items of each List in its place: what kubectl
// and other tools print when they print several resources. It is not ok when a List
// has an error: then it may have more items.
func unlist(documents []*document.Node, errs *Errors) (all []*document.Node, ok bool) {
	ok = true
	for _, d := range documents {
		if d.Get("kind").Text() != "List" {
			all = append(all, d)
			continue
		}
		items, isList := d.Get("items").Items()
		if !isList {
			errs.Add(d.At(), "write items: and below it each document with a dash in front", "this List has no list of items")
			ok = false
			continue
		}
		below, whole := unlist(items, errs)
		all, ok = append(all, below...), ok && whole
	}
	return all, ok
}
